"""What the Triton kernels of every machine have in common. Importing a module of it takes Triton."""
