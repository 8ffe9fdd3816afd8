"""Programs that run inside a trial's own process. They import the words and nothing else of ours."""
