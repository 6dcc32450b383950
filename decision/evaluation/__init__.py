"""What a policy would have earned: judged by a log that another policy made."""
