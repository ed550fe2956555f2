"""What a client brings, and its way through a task: data, network, folder, rounds."""
