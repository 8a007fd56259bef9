"""The ICT-FaceKit head model; see README.md."""
