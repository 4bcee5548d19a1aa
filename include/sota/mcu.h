/*
 * The MCU's side of an upgrade: agent and bootloader (docs/mcu.md). Written by cbindgen from crates/mcu-c; do not edit.
 *
 * One agent. All functions are called from one thread, and none of them from a function of the port.
 */

#ifndef SOTA_MCU_H
#define SOTA_MCU_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Of sota_mcu_boot_state(): the running image is kept.
 */
#define SOTA_MCU_CONFIRMED 0

/**
 * Of sota_mcu_boot_state(): it is on trial; sota_mcu_confirm() keeps it, else the next reset brings the old one back.
 */
#define SOTA_MCU_TRIAL 1

/**
 * Of sota_mcu_boot_state(): a new image was reverted, and this is the old one.
 */
#define SOTA_MCU_REVERTED 2

/**
 * Who the MCU is, and how it talks. Texts are UTF-8, ended by 0, and live on: they are not copied. A library with AT
 * commands takes no notice of hardware, bootloader, baud rates, window and session.
 */
typedef struct {
  /**
   * Component identifier, 1 to 32 bytes.
   */
  const char *component;
  /**
   * Version that runs, at most 64 bytes.
   */
  const char *version;
  /**
   * Hardware identifier, at most 32 bytes; null: none.
   */
  const char *hardware;
  /**
   * Bootloader identifier, at most 32 bytes; null: none.
   */
  const char *bootloader;
  /**
   * The base baud rate, both ends' same.
   */
  uint32_t baud;
  /**
   * The greatest baud rate; 0: no other than the base.
   */
  uint32_t greatest_baud;
  /**
   * Blocks that may be on their way, 1 to 8; 0 counts as 8.
   */
  uint8_t window;
  /**
   * Session number: another than at the last start. 0: counted in flash.
   */
  uint16_t session;
  /**
   * How long an image on trial may take to confirm, ms; 0: for ever.
   */
  uint32_t confirm_within_ms;
  /**
   * Packages are MCUboot images; refused unless the library was built with that feature.
   */
  bool mcuboot;
  /**
   * AT commands: how often an idle MCU announces its version and asks for a plan, ms; 0: at a start, and when the module
   * connects.
   */
  uint32_t request_ms;
  /**
   * AT commands: the module has AT+SOTAREWIND and AT+SOTAERR, as one of ours.
   */
  bool sota_commands;
  /**
   * AT commands: each range is read until two answers agree, for a line that harms bytes.
   */
  bool reads_twice;
} sota_mcu_config;

/**
 * Where things lie in the flash: docs/mcu.md. Addresses as `flash_read` takes them, lengths in bytes.
 */
typedef struct {
  /**
   * Begin of the active slot.
   */
  uint32_t active;
  /**
   * Its length, whole pages.
   */
  uint32_t active_length;
  /**
   * Begin of the other slot.
   */
  uint32_t other;
  /**
   * Its length, whole pages, at least 4. The last 3 are not for an image.
   */
  uint32_t other_length;
  /**
   * Bytes erased at once in both slots: a multiple of 64.
   */
  uint32_t page;
  /**
   * Begin of the boot state, two pages of `state_page` bytes.
   */
  uint32_t state;
  /**
   * Bytes erased at once there.
   */
  uint32_t state_page;
  /**
   * Bytes written at once: 1, 2, 4, 8 or 16.
   */
  uint32_t word;
} sota_mcu_layout;

/**
 * What a port gives. Every function gets `context` as it is. None may call a function of this library.
 */
typedef struct {
  /**
   * Handed to each function.
   */
  void *context;
  /**
   * Reads `length` bytes; address and length are multiples of 4 and of the layout's word. 0: done.
   */
  int32_t (*flash_read)(void *context, uint32_t address, uint8_t *bytes, uint32_t length);
  /**
   * Writes `length` bytes into erased words; address and length are multiples of the layout's word. `bytes` need not be
   * aligned. 0: done, and it is in the flash.
   */
  int32_t (*flash_write)(void *context, uint32_t address, const uint8_t *bytes, uint32_t length);
  /**
   * Erases one page of the layout to 0xFF; `length` is its size. 0: done.
   */
  int32_t (*flash_erase)(void *context, uint32_t address, uint32_t length);
  /**
   * Gives up to `length` received bytes, and how many. Does not wait.
   */
  uint32_t (*uart_read)(void *context, uint8_t *bytes, uint32_t length);
  /**
   * Takes up to `length` bytes to send, and says how many. Does not wait.
   */
  uint32_t (*uart_write)(void *context, const uint8_t *bytes, uint32_t length);
  /**
   * Changes the baud rate when all that was taken has left. May be null where the configuration has no greater rate.
   */
  void (*uart_baud)(void *context, uint32_t baud);
  /**
   * Milliseconds since any moment; may wrap.
   */
  uint32_t (*now_ms)(void *context);
  /**
   * Resets the MCU when all that was taken has left. May return where the reset comes a little later.
   */
  void (*reset)(void *context);
  /**
   * A plan to this version waits: 0 takes it, 622, 623 or a number of the product's own refuses it. Null: takes every one.
   * `target` is ended by 0.
   */
  uint16_t (*plan)(void *context, const uint8_t *target, uint32_t space);
  /**
   * The image is whole and verified: 0 installs it now, else it is asked again at the next step. Null: installs at once.
   */
  int32_t (*may_install)(void *context);
  /**
   * Something for the log: a number of the catalogue (docs/errors.md); 0: the upgrade ended well. May be null.
   */
  void (*event)(void *context, uint16_t number);
} sota_mcu_port;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts the agent after a reset. 0: it runs. Else a number of the catalogue (docs/errors.md): 404 the flash failed, 408
 * the layout is wrong, 411 the configuration or the port is.
 *
 * # Safety
 * The three pointers are null or point to what their types say; texts are ended by 0 and live on, as do the port's functions,
 * which do what they say.
 */
uint16_t sota_mcu_start(const sota_mcu_config *config,
                        const sota_mcu_layout *layout,
                        const sota_mcu_port *port);

/**
 * Does what is to be done: takes what the UART received, gives it what it can take, works. Call it when bytes came, when
 * the UART can take some, and after as many ms as it said; more often does no harm.
 */
uint32_t sota_mcu_step(void);

/**
 * The module answers: on trial, a good moment for sota_mcu_confirm().
 */
bool sota_mcu_is_up(void);

/**
 * How the running image came to run, one of SOTA_MCU_CONFIRMED, SOTA_MCU_TRIAL, SOTA_MCU_REVERTED; `reason`, if not null,
 * gets why the new one was reverted.
 *
 * # Safety
 * `reason` is null or points to a number.
 */
uint8_t sota_mcu_boot_state(uint16_t *reason);

/**
 * The image on trial is good: it is kept, and the module told so. 0: done, or not on trial. 404: on trial still.
 */
uint16_t sota_mcu_confirm(void);

/**
 * The image on trial is bad, for this reason (409, or one of the product's own, 500 to 599): the next step resets, and the
 * old image comes back. Without effect when it is not on trial.
 */
void sota_mcu_revert(uint16_t reason);

/**
 * Asks for a plan.
 */
void sota_mcu_ask_for_plan(void);

/**
 * Bytes of the image on its way that are durable; `length`, if not null, gets how many it has. 0 of 0: none.
 *
 * # Safety
 * `length` is null or points to a number.
 */
uint32_t sota_mcu_progress(uint32_t *length);

/**
 * The bootloader: does what the boot state asks for, the swap among it. 0: start the image in the active slot. 404: the
 * flash failed; reset, it goes on where it stood. 408 the layout is wrong, 411 a function of the port is missing (those of
 * the UART, `now_ms` and `reset` are not needed). `trial_boots`: starts that an image on trial has, 1 to 15; 0 counts as 1.
 *
 * # Safety
 * As of sota_mcu_start().
 */
uint16_t sota_mcu_boot(const sota_mcu_layout *layout,
                       const sota_mcu_port *port,
                       uint8_t trial_boots);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SOTA_MCU_H */
