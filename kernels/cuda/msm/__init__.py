"""Multi-scalar multiplications on a device, their plans, digits and prepared bases."""
