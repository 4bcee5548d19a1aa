# The Rust half. What the configuration decides at compile time reaches it as SOTA_* variables of the environment;
# everything else is in struct sota_kconfig, so that images that differ in it only share one library.

set(SOTA_RUST_ENV
  SOTA_BLOCK=${CONFIG_SOTA_BLOCK_SIZE}
  SOTA_STAGING_PAGE=${SOTA_STAGING_PAGE}
  SOTA_STAGING_WRITE=${SOTA_STAGING_WRITE}
  SOTA_JOURNAL_PAGE=${SOTA_JOURNAL_PAGE}
  SOTA_JOURNAL_WRITE=${SOTA_JOURNAL_WRITE}
)
if(CONFIG_SOTA_MCU_LINK)
  list(APPEND SOTA_RUST_ENV SOTA_LINK_BLOCK=${CONFIG_SOTA_LINK_BLOCK})
  set(SOTA_RUST_FEATURES --features link)
else()
  # No link: the number is not used.
  list(APPEND SOTA_RUST_ENV SOTA_LINK_BLOCK=64)
endif()
if(CONFIG_SOTA_SIDES)
  list(APPEND SOTA_RUST_ENV SOTA_STM32S=${SOTA_STM32S} SOTA_SMPS=${SOTA_SMPS})
endif()
if(CONFIG_SOTA_MCU_STM32)
  list(APPEND SOTA_RUST_FEATURES --features stm32)
endif()
if(CONFIG_SOTA_MCU_SMP)
  list(APPEND SOTA_RUST_FEATURES --features smp)
endif()
set(SOTA_RUST_FLAGS)
if(CONFIG_CPU_CORTEX_M)
  # sha2's own switch: rounds in a loop, not unrolled.
  list(APPEND SOTA_RUST_FLAGS --cfg "sha2_backend_soft=\"compact\"")
  # Somewhat more may be inlined than opt-level z lets: calls of small functions take more bytes than what they do.
  list(APPEND SOTA_RUST_FLAGS -C llvm-args=-inline-threshold=12)
endif()
if(NOT CONFIG_SOTA_BRIDGE)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_no_bridge)
elseif(NOT CONFIG_SOTA_UART)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_no_main)
endif()
if(CONFIG_SOTA_MCU_LINK)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_mcu_link)
endif()
if(CONFIG_SOTA_SIDES)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_sides)
endif()
if(CONFIG_SOTA_MCU_STM32)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_mcu_stm32)
endif()
if(CONFIG_SOTA_MCU_SMP)
  list(APPEND SOTA_RUST_FLAGS --cfg sota_mcu_smp)
endif()

if(NOT CONFIG_SOTA_STATICLIB)
  # The product's own Cargo finds the numbers here (sota-zephyr/build.rs).
  set(lines ${SOTA_RUST_ENV})
  if(NOT CONFIG_SOTA_BRIDGE)
    list(APPEND lines SOTA_NO_BRIDGE=1)
  elseif(NOT CONFIG_SOTA_UART)
    list(APPEND lines SOTA_NO_MAIN=1)
  endif()
  if(CONFIG_SOTA_MCU_LINK)
    list(APPEND lines SOTA_MCU_LINK=1)
  endif()
  if(CONFIG_SOTA_SIDES)
    list(APPEND lines SOTA_SIDES=1)
  endif()
  if(CONFIG_SOTA_MCU_STM32)
    list(APPEND lines SOTA_MCU_STM32=1)
  endif()
  if(CONFIG_SOTA_MCU_SMP)
    list(APPEND lines SOTA_MCU_SMP=1)
  endif()
  string(JOIN "\n" text ${lines})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/sota-rust.env CONTENT "${text}\n" @ONLY)
  return()
endif()

# Each combination has a folder of its own: suites that share SOTA_CARGO_TARGET_DIR build each of them once.
_rust_map_target()
string(MD5 key "${SOTA_RUST_ENV};${SOTA_RUST_FLAGS}")
string(SUBSTRING "${key}" 0 8 key)
if(DEFINED ENV{SOTA_CARGO_TARGET_DIR})
  set(target_dir "$ENV{SOTA_CARGO_TARGET_DIR}/${key}")
else()
  set(target_dir "${CMAKE_BINARY_DIR}/sota-rust/${key}")
endif()
set(library ${target_dir}/${RUST_TARGET}/release/librustapp.a)
string(JOIN " " flags ${SOTA_RUST_FLAGS})

# The output is never made, so Cargo always runs: it knows best what is old.
add_custom_command(
  OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/always-run-cargo.dummy
  BYPRODUCTS ${library}
  COMMAND ${CMAKE_COMMAND} -E env ${SOTA_RUST_ENV} "RUSTFLAGS=${flags}"
    ${SOTA_ROOT}/scripts/cargo-for ${RUST_TARGET} build --release
    --manifest-path ${CMAKE_CURRENT_LIST_DIR}/rust/Cargo.toml -p rustapp ${SOTA_RUST_FEATURES} --target-dir ${target_dir}
  COMMENT "SOTA: Cargo for ${RUST_TARGET}"
  USES_TERMINAL
  VERBATIM
)
add_custom_target(sota_rustapp ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/always-run-cargo.dummy)
add_library(sota_rust STATIC IMPORTED GLOBAL)
set_target_properties(sota_rust PROPERTIES IMPORTED_LOCATION ${library})
add_dependencies(sota_rust sota_rustapp)
# libgcc before it: the image's own 64-bit divisions, which the kernel needs, and not Rust's beside them.
zephyr_library_link_libraries($<$<BOOL:${CONFIG_CPU_CORTEX_M}>:gcc> sota_rust)
zephyr_library_add_dependencies(sota_rustapp)
