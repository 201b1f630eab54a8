import { type RecentResults, withResult } from '../../src/health/recent-results.ts';

/** The record of results, oldest first: `x` failed, `.` did not. */
export const resultsOf = (text: string): RecentResults =>
  text.split('').reduce((all, each) => withResult(all, each === 'x'), { bits: 0, known: 0 });
