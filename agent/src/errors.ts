/** A mistake of the person who starts the agent (a setting, a file). Printed without a stack. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
