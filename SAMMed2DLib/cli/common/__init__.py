"""What several commands share: options, prompts, records, errors, what is printed."""
