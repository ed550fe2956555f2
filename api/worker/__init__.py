"""A worker: takes one task of the queue at a time and proves it on one device."""
