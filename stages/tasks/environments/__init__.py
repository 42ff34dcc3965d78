"""Environments: Big-Bench Strategic Reasoning (Table 7), MBPP and HumanEval, one a module."""
