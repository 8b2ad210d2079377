"""What the product is compared with; each is a process of its own."""
