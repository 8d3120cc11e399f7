"""What a model demands of the files of its inputs."""
