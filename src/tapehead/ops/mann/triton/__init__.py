"""The MANN's Triton kernels, which `cuda.py` launches. Importing a module of it takes Triton."""
