"""Pure data and rules, and the ports that adapters implement."""
