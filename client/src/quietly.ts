/** Returns what a call returns, or undefined if it throws, so that it cannot disturb the page. */
export function quietly<Result>(call: () => Result): Result | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
