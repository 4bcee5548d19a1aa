# Keeps what rust_cargo_application() builds where SOTA_CARGO_TARGET_DIR of the environment says: bindgen and the crates below
# it take minutes. A folder for each configuration, because the bindings depend on it and Cargo does not see that.
# After find_package(Zephyr), before rust_cargo_application().
if(DEFINED ENV{SOTA_CARGO_TARGET_DIR})
  file(MD5 ${DOTCONFIG} sota_config)
  file(MD5 ${ZEPHYR_DTS} sota_devicetree)
  string(MD5 sota_key "${sota_config} ${sota_devicetree} ${CMAKE_BINARY_DIR}")
  set(sota_kept $ENV{SOTA_CARGO_TARGET_DIR}/product-${sota_key})
  file(MAKE_DIRECTORY ${sota_kept} ${CMAKE_CURRENT_BINARY_DIR}/rust)
  if(NOT EXISTS ${CMAKE_CURRENT_BINARY_DIR}/rust/target)
    file(CREATE_LINK ${sota_kept} ${CMAKE_CURRENT_BINARY_DIR}/rust/target SYMBOLIC)
  endif()
endif()
