// All that a widget may import from "kit".

export * from "./numbers.js";
export * from "./noise.js";
export * from "./schedules.js";
export * from "./sampling.js";
export * from "./exact.js";
export * from "./elements.js";
export * from "./models.js";
export * from "./controls.js";
export * from "./timeline.js";
export * from "./pictures.js";
export * from "./plot.js";
export * from "./pointing.js";
export * from "./stage.js";
export * from "./computed.js";
export * from "./engine.js";
export * from "./networks.js";
