"""What the suite needs from its machine: a container engine, images, server binaries."""
