"""What to compute, where and when: recipes, the plan, the schedule, the store, backends and the command line."""

from winning_sign import check

check("orchestrator")
