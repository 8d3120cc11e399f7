"""What a model demands of the files in its inputs."""
