"""What is stored, by subject. Each repository is written once, on the ports."""
