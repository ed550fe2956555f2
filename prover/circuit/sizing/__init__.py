"""What the compiler decides by numbers alone: windows, packings, widths, and what each costs."""
