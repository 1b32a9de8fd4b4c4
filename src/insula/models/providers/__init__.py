"""How a model server is spoken to. One file per wire format; siblings do not know each other."""
