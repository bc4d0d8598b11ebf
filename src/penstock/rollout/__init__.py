"""From one version to another, step by step, each step judged: plan, judge, decide. Nothing here acts."""
