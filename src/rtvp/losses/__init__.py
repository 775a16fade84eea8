"""Everything that training minimises."""
