"""Where the catalog and the entitlements are kept."""
