"""What is asked: suites, answer extraction, scoring. Knows neither the models nor DVC."""
