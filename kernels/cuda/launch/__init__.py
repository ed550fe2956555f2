"""From source to a running kernel: compiler, cubins, the device, launches and their faults."""
