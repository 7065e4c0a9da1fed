"""What the domain needs from the outside: storage, a language model, security, a clock."""
