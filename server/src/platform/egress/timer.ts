/**
 * Calls `fire` after `ms`, but lets the event loop look at its sockets first: after a stall of this process
 * the answers are already there, and only the timers do not know it. Returns the function that cancels.
 */
export function afterIo(ms: number, fire: () => void): () => void {
  let last: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    last = setImmediate(fire);
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(last);
  };
}
