"""What one sees: each view has an HTML form that needs neither network nor kernel, and a text form that stands alone."""
