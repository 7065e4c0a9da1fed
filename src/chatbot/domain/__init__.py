"""What is true with the power off: data, rules and the ports that the outside implements."""
