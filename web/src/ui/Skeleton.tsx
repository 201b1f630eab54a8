/** A grey block where a value will be. Sizes are CSS lengths. */
export const Skeleton = ({ width, height = '14px' }: { width: string; height?: string }) => (
  <span className="skeleton" style={{ width, height }} aria-hidden="true" />
);
