"""What every process of the service has: settings in force, logs, streams, supervision."""
