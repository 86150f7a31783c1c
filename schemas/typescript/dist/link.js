/** What both transports look like from above, and what they take from their surroundings. */
export {};
