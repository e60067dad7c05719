/** As a `ref`: takes the focus as it appears, so that whoever uses keys or hears the page stays where she was. */
export const arriving = (element: HTMLElement | null): void => element?.focus();
