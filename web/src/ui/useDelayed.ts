import { useEffect, useState } from 'react';

/** Whether `isOn` has been so for that long: what is quick shows no skeleton at all. */
export function useDelayed(isOn: boolean, delayMs = 200): boolean {
  const [isLate, setIsLate] = useState(false);
  useEffect(() => {
    if (!isOn) return;
    const timer = setTimeout(() => setIsLate(true), delayMs);
    return () => {
      clearTimeout(timer);
      setIsLate(false);
    };
  }, [isOn, delayMs]);
  return isOn && isLate;
}
