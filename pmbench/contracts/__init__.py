"""What plugins implement: values and base classes, no input or output."""
