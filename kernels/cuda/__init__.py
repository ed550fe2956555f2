"""The CUDA backend: CUDA C++ in `src/`, compiled to cubins and launched through cupy."""
