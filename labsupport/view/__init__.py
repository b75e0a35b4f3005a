"""What one sees. Each view has an HTML form that needs neither network nor kernel, and a text form for terminals."""
