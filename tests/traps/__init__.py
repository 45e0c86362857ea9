"""Traps into which alerts on money fall, each lived through by the real exporter.

A month of a ledger (`ledgers`) passes in steps of an hour, and of a minute where something
happens; its pages are kept as Prometheus would keep them (`scrapes`) and the shipped rules are
evaluated over them by a real Prometheus (`judge`). `scenarios` is the table of what must fire.
`python -m traps NAME` (with `exporter` and `tests` on the path) prints what does.

Each trap has a case by hand in `alert_rules/tests`, too, where the figures are round:

=================================  ========================================================
trap                               cases (file: what is shown)
=================================  ========================================================
month start                        budgets: ForecastOverBudget silent, on the first of the month
month end                          thresholds: BudgetExhaustionSoon silent, near the period's end
clocks change                      burn_rates: BudgetBurnFast silent, a nightly batch that begins
                                   an hour sooner; weeks: UnexpectedTenantCost silent, west
first hour of history              weeks: CostSpike silent, young; burn_rates: BudgetBurnFast
                                   missing
a daily bill, a week of bills      weeks: CostSpike silent, released
nightly batch                      weeks: CostSpike silent, nightly and later; burn_rates:
                                   BudgetBurnFast silent
office hours, idle weekend         traps: CostSpike silent, young; weeks: CostSpike silent, shifted;
                                   UnexpectedTenantCost silent, mondays
a planned job on the 1st           burn_rates: BudgetBurnFast silent; traps: CostSpike and
                                   UnexpectedTenantCost silent, planned; burn_past
a restored ledger                  recording: a restored ledger that restarts near 0 is followed
a tenant from `_other`             weeks: UnexpectedTenantCost silent, `_other`; health:
                                   SeriesOverflow fires
credit, restated down              weeks: CostSpike silent, credited and refund;
                                   UnexpectedTenantCost silent, credited and corrected
restated up                        weeks: CostSpike silent, released
restart                            budgets: each alert "missing"; health: CostmeterDown silent
replica pair and failover          replicas: BudgetBurnFast duplicates; recording: failover; each
                                   alert "duplicates"
born at 18:00 with 900 USD         rhythm: UnexpectedTenantCost fires; recording: a series born
                                   with 500 USD counts 500
a tenant gone                      traps: CostSpike silent, gone
GPU cost without traffic           spend: HighCostPerRequest silent
three times the usual              rhythm: CostSpike fires; burn_rates: BudgetBurnSlow fires
a slow overspend                   burn_rates: BudgetBurnFast silent; budgets: ForecastOverBudget
                                   fires
a budget of 0                      traps: BudgetExceeded missing; burn_rates: BudgetBurnFast missing
a budget removed                   traps: BudgetExceeded missing
a missing exporter                 health: CostmeterDown fires; rhythm: CostSpike missing
a stale source                     thresholds: CostDataStale fires; bills: SourceStale fires;
                                   traps: UnexpectedTenantCost missing
=================================  ========================================================
"""
