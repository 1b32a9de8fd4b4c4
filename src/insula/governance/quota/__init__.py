"""How much of what is shared a level may use: rates, calls in flight, budgets of calendar windows."""
