/** Signal for React: a provider with the tracker's options, and the hooks that record events. */
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect, useInsertionEffect, useRef, useState } from "react";

import type { EventType } from "./events.js";
import { type Fields, type HookTracker, type Track, type TrackerOptions, trackerOf, warn } from "./tracker.js";

const Context = createContext<HookTracker>({
  track: ((eventType: string) => warn(eventType, "no provider")) as Track,
  isLoading: () => false,
});

/** The options of `createTracker` as props. The values of the last render count, so that hooks can supply them. */
export type SignalProviderProps = TrackerOptions & { readonly children?: ReactNode };

/** Makes `useTrackEvent` work in everything below it. Use one per app. */
export function SignalProvider({ children, ...options }: SignalProviderProps): ReactElement {
  const latest = useRef<TrackerOptions>(options);
  const [tracker, setTracker] = useState(() => trackerOf(() => latest.current));
  const wasLoading = useRef(false);
  // An insertion effect runs before any effect of a child can track.
  useInsertionEffect(() => {
    latest.current = options;
  });
  // A new value renders each `useTrackWhen` below again, which then sends what waited. `track` in it stays the same.
  useEffect(() => {
    if (wasLoading.current !== (wasLoading.current = tracker.isLoading())) setTracker({ ...tracker });
  });
  return createElement(Context.Provider, { value: tracker }, children);
}

/**
 * Returns `track(eventType, { entity, description })`, the same function at each render. Call it where the user acts.
 */
export function useTrackEvent(): Track {
  return useContext(Context).track;
}

/**
 * Records one event each time `condition` becomes true, such as `open` of an overlay, and each time `eventType` changes
 * while it is true.
 *
 * A component that mounts while `condition` is true counts again. A component that an `<Activity>` hides and shows
 * again counts again only if `condition` was false in between. A change of entity or description does not count. If it
 * should, give the component a `key`. While the user is loading, the event waits; it is sent if `condition` is still true
 * when the provider or the component renders with the loaded user.
 *
 * An effect that calls `track` itself would record twice under StrictMode, and again whenever its dependencies change.
 */
export function useTrackWhen<Type extends EventType>(condition: boolean, eventType: Type, ...fields: Fields<Type>): void {
  const { track, isLoading } = useContext(Context);
  const open = condition && eventType;
  const recorded = useRef<Type | false>(false);
  // Unlike other effects, an insertion effect also runs while an `<Activity>` hides the component. It therefore notices
  // when the condition becomes false.
  useInsertionEffect(() => {
    if (recorded.current !== open) recorded.current = false;
  });
  useEffect(() => {
    if (open && !recorded.current && !isLoading()) track((recorded.current = open), ...fields);
  });
}
