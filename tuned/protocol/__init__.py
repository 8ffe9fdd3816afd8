"""The shapes that go over the control socket, and the bounds that both sides keep. They do nothing."""
