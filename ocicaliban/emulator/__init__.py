"""A stand-in for Vertex AI's JobService on this machine: the real client library talks to it, podman runs its jobs."""
