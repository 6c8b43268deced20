export type { AppName, Entity, EntityType, EventFields, EventType } from "./events.js";
export { routeTemplate } from "./route.js";
export { createTracker } from "./tracker.js";
export type { DropReason, SignalUser, Track, Tracker, TrackerOptions } from "./tracker.js";
export type { Answer, EventInput, GetToken, Operation, Transport } from "./transport.js";
