/** What can be wrong with the installation itself, as opposed to a server that it watches. */
export const conditionNames = [
  'polling_late',
  'polling_blind',
  'polling_partial',
  'polling_absent',
  'storing_refused',
  'partitions_behind',
  'retention_behind',
] as const;
export type ConditionName = (typeof conditionNames)[number];

/** Those that workers see. That there is no worker, the watchdog has to say, and upkeep what it could not do. */
export const workerConditions: readonly ConditionName[] = conditionNames.filter(
  name => !['polling_absent', 'partitions_behind', 'retention_behind'].includes(name),
);

/** Since when, and a sentence for the operator. It names no server and no organization. */
export type Condition = { since: Date; detail: string };
export type Conditions = Partial<Record<ConditionName, Condition>>;

/** What several observers see, as one: a condition holds since the first of them saw it. */
export function mergeConditions(all: readonly Conditions[]): Conditions {
  const merged: Conditions = {};
  for (const conditions of all) {
    for (const name of conditionNames) {
      const condition = conditions[name];
      const known = merged[name];
      if (condition !== undefined && (known === undefined || condition.since < known.since)) {
        merged[name] = condition;
      }
    }
  }
  return merged;
}
