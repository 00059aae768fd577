"""Text generation and scoring with a language model head."""
