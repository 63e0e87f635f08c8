"""What is published: metrics, records, statistics, the leaderboard. Nothing here imports torch."""
