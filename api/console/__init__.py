"""What commands share: options, tables, progress bars, files, and errors with a next step."""
